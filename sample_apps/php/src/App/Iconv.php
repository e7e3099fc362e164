<?php
declare(strict_types=1);

namespace App;

final class Iconv
{
    public function __invoke(string $argument): mixed
    {
        return bin2hex(iconv("UTF-8", $argument, "čau"));
    }
}
