<?php
declare(strict_types=1);

namespace App;

final class Template
{
    public function __invoke(string $argument): mixed
    {
        ob_start();
        include __DIR__ . "/../../views/" . basename($argument) . ".php";
        return ob_get_clean();
    }
}
