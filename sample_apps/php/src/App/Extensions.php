<?php
declare(strict_types=1);

namespace App;

final class Extensions
{
    public function __invoke(string $argument): mixed
    {
        $all = get_loaded_extensions();
        sort($all);
        return $all;
    }
}
