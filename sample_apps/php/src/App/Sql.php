<?php
declare(strict_types=1);

namespace App;

final class Sql
{
    public function __invoke(string $argument): mixed
    {
        $database = new \PDO("sqlite::memory:");
        return $database->query("select 6 * 7")->fetchColumn();
    }
}
