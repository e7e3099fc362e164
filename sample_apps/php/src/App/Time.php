<?php
declare(strict_types=1);

namespace App;

final class Time
{
    public function __invoke(string $argument): mixed
    {
        $moment = new \DateTimeImmutable("2024-07-01 12:00", new \DateTimeZone("UTC"));
        return $moment->setTimezone(new \DateTimeZone(str_replace("_", "/", $argument)))->format(DATE_ATOM);
    }
}
