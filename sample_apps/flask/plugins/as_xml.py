"""Export as XML."""

import xml.etree.ElementTree as ElementTree


def render(record):
    root = ElementTree.Element("record")
    for key, value in record.items():
        ElementTree.SubElement(root, key).text = str(value)
    return ElementTree.tostring(root, encoding="utf-8"), "application/xml"
