<?php
declare(strict_types=1);

namespace App;

final class Sorted
{
    public function __invoke(string $argument): mixed
    {
        $words = ["z", "č", "c", "ä"];
        (new \Collator($argument))->sort($words);
        return $words;
    }
}
