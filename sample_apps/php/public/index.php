<?php
declare(strict_types=1);

spl_autoload_register(function (string $class): void {
    $file = __DIR__ . '/../src/' . str_replace('\\', '/', $class) . '.php';
    if (is_file($file)) {
        require $file;
    }
});

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path !== '/' && is_file(__DIR__ . $path)) {
    return false;
}
$parts = explode('/', trim($path, '/'), 2);
if ($parts[0] === '') {
    header('Content-Type: text/plain');
    echo "hello\n";
    return;
}
$handler = 'App\\' . ucfirst($parts[0]);
try {
    if (!class_exists($handler)) {
        http_response_code(404);
        require __DIR__ . '/../views/missing.php';
        return;
    }
    header('Content-Type: application/json');
    echo json_encode((new $handler())($parts[1] ?? ''), JSON_THROW_ON_ERROR), "\n";
} catch (Throwable $error) {
    http_response_code(500);
    require __DIR__ . '/../views/error.php';
}
