<?php return ["hello" => "Hello"];
