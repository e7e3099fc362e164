<?php
declare(strict_types=1);

namespace App;

final class Session
{
    public function __invoke(string $argument): mixed
    {
        session_save_path(sys_get_temp_dir());
        session_start();
        $_SESSION["n"] = 1;
        return $_SESSION;
    }
}
