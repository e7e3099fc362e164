<h1><?= htmlspecialchars(get_class($error) . ": " . basename($error->getMessage())) ?></h1>
