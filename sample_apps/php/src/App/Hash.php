<?php
declare(strict_types=1);

namespace App;

final class Hash
{
    public function __invoke(string $argument): mixed
    {
        return hash($argument, "minify");
    }
}
