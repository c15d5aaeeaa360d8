// The same in Node: /slow says how it ends, and that the response was closed before, if anybody asks.
const http = require('http');

const delay_ms = 1000 * (process.env.DELAY || 10);

const server = http.createServer((request, response) => {
    if (request.url !== '/slow') {
        response.end('That was fast!');
        return;
    }
    response.on('close', () => {
        if (!response.writableFinished)
            console.log("/slow: 'close'");
    });
    setTimeout(() => {
        console.log('/slow is over');
        response.end('That was slow!');
    }, delay_ms);
});

server.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
