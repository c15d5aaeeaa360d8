// The same server with the http module of Node, whose event loop is libuv.
const http = require('http');

const delay_ms = 1000 * (process.env.DELAY || 10);

function answer(response, text) {
    response.setHeader('Content-Type', 'text/plain; charset=utf-8');
    response.end(text);
}

const server = http.createServer((request, response) => {
    if (request.url === '/fast') {
        answer(response, 'That was fast!');
    } else if (request.url === '/slow') {
        setTimeout(answer, delay_ms, response, 'That was slow!');
    } else {
        response.statusCode = 404;
        answer(response, 'Not Found');
    }
});
server.listen(0, '127.0.0.1', () => {
    console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
