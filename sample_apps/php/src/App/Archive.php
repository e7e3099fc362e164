<?php
declare(strict_types=1);

namespace App;

final class Archive
{
    public function __invoke(string $argument): mixed
    {
        $path = tempnam(sys_get_temp_dir(), "phar") . ".tar";
        (new \PharData($path))->addFromString("a", "b");
        return file_get_contents("phar://$path/a");
    }
}
