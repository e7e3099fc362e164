<?php
declare(strict_types=1);

namespace App;

final class Tls
{
    public function __invoke(string $argument): mixed
    {
        return extension_loaded("openssl") ? count(openssl_get_cipher_methods()) > 10 : "none";
    }
}
