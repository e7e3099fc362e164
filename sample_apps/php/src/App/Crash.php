<?php
declare(strict_types=1);

namespace App;

final class Crash
{
    public function __invoke(string $argument): mixed
    {
        throw new \RuntimeException("on purpose");
    }
}
