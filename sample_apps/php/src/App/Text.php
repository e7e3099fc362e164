<?php
declare(strict_types=1);

namespace App;

final class Text
{
    public function __invoke(string $argument): mixed
    {
        return (require __DIR__ . "/../../lang/" . basename($argument) . ".php")["hello"];
    }
}
