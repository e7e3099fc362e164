<?php
declare(strict_types=1);

namespace App;

final class Money
{
    public function __invoke(string $argument): mixed
    {
        $format = new \NumberFormatter($argument, \NumberFormatter::CURRENCY);
        return $format->formatCurrency(1234.5, "EUR");
    }
}
