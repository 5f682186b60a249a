// An http server: answers with what it computes, until it is asked for /end.
const http = require('http');
const fs = require('fs');
let served = 0;
const server = http.createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', () => {
    served++;
    if (request.url === '/end') {
      response.end(`served ${served}`);
      server.close();
      server.closeAllConnections();
      return;
    }
    const words = body.split(' ').map((word) => word.split('').reverse().join(''));
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ url: request.url, words }));
  });
});
server.listen(0, '127.0.0.1', () => {
  fs.writeFileSync('port.new', String(server.address().port));
  fs.renameSync('port.new', 'port');
});
server.on('close', () => console.log('closed after', served));
