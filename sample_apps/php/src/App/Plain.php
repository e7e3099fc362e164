<?php
declare(strict_types=1);

namespace App;

final class Plain
{
    public function __invoke(string $argument): mixed
    {
        return \Transliterator::create("Any-Latin; Latin-ASCII")->transliterate(urldecode($argument));
    }
}
