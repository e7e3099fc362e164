<?php
declare(strict_types=1);

namespace App;

final class Image
{
    public function __invoke(string $argument): mixed
    {
        $image = imagecreatetruecolor(8, 8);
        ob_start();
        imagepng($image);
        return strlen(ob_get_clean()) > 50;
    }
}
