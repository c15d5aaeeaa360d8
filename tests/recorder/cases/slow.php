<?php // for php -S, which serves one client after the other
if ($_SERVER['REQUEST_URI'] === '/slow')
    usleep(1000000);
echo 'done';
