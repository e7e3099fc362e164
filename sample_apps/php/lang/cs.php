<?php return ["hello" => "Ahoj"];
