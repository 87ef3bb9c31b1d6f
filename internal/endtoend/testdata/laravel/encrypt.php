<?php
// Encrypts texts as Laravel does: from standard input a list of {key, cipher, text, serialize} as JSON with key and text in base64,
// to standard output the payloads.
require '/usr/share/php/Illuminate/Encryption/autoload.php';

$payloads = [];
foreach (json_decode(stream_get_contents(STDIN), true, 16, JSON_THROW_ON_ERROR) as $one) {
    $encrypter = new Illuminate\Encryption\Encrypter(base64_decode($one['key']), $one['cipher']);
    $payloads[] = $encrypter->encrypt(base64_decode($one['text']), $one['serialize']);
}
echo json_encode($payloads);
