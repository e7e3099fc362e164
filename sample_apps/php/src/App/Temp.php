<?php
declare(strict_types=1);

namespace App;

final class Temp
{
    public function __invoke(string $argument): mixed
    {
        $file = tmpfile();
        fwrite($file, "for a moment");
        fseek($file, 0);
        return fread($file, 99);
    }
}
