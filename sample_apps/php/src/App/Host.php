<?php
declare(strict_types=1);

namespace App;

final class Host
{
    public function __invoke(string $argument): mixed
    {
        return gethostbyname("localhost");
    }
}
