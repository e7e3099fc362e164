<?php
declare(strict_types=1);

namespace App;

final class Upper
{
    public function __invoke(string $argument): mixed
    {
        return mb_strtoupper(mb_convert_encoding(urldecode($argument), "UTF-8", "ISO-8859-2"));
    }
}
