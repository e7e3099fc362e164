<?php
declare(strict_types=1);

namespace App;

final class Xml
{
    public function __invoke(string $argument): mixed
    {
        $document = new \DOMDocument();
        $document->loadXML("<a><b>1</b></a>");
        return simplexml_import_dom($document)->b->__toString();
    }
}
