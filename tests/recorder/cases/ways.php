<?php // for php -S: WAY in the environment says how /slow takes about a second
if (getenv('WAY') === 'session') { // which every request wants
    session_save_path(sys_get_temp_dir()); // the usual one may be for others
    session_id('orders');
    session_start();
}
if ($_SERVER['REQUEST_URI'] === '/slow')
    switch (getenv('WAY')) {
        case 'compute':
            for ($end = microtime(true) + 1; microtime(true) < $end;);
            break;
        case 'ask': // another server
            file_get_contents('http://127.0.0.1:' . getenv('UPSTREAM') . '/slow');
            break;
        case 'child':
            shell_exec('sleep 1');
            break;
        default:
            usleep(1000000);
    }
echo 'done';
