<?php
// Prints test vectors of Laravel's own Encrypter as JSON: payloads with what is in them. Binary is base64.
require '/usr/share/php/Illuminate/Encryption/autoload.php';

use Illuminate\Encryption\Encrypter;

$texts = ['', 'a', 'exactly16 bytes!', "M\u{fc}ller \u{1F600}", "\x00\xff\"quoted\"\\", str_repeat('long ', 100), 's:1:"x";', 'N;'];
$values = [7, -1, true, false, 0.1, 1.5e300, null, ['a' => 1], new ArrayObject([1])];
$vectors = [];
foreach (['AES-128-CBC' => 16, 'AES-256-CBC' => 32, 'AES-128-GCM' => 16, 'AES-256-GCM' => 32] as $cipher => $size) {
    $key = str_pad($cipher, $size, '.');
    $encrypter = new Encrypter($key, $cipher);
    foreach ($texts as $text) {
        foreach ([false, true] as $serialized) {
            $vectors[] = ['cipher' => $cipher, 'key' => base64_encode($key), 'serialized' => $serialized, 'plain' => base64_encode($text),
                'payload' => $encrypter->encrypt($text, $serialized)];
        }
    }
    foreach ($values as $value) {
        $supported = is_scalar($value);
        $vectors[] = ['cipher' => $cipher, 'key' => base64_encode($key), 'serialized' => true,
            'plain' => $supported ? base64_encode(is_bool($value) ? (string) (int) $value : (string) $value) : null, 'payload' => $encrypter->encrypt($value)];
    }
}
echo json_encode($vectors, JSON_UNESCAPED_SLASHES | JSON_PRETTY_PRINT), "\n";
