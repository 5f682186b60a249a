// Worker threads with messages, shared memory and Atomics.wait; timers and the file system beside.
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const fs = require('fs');
const crypto = require('crypto');

function primes(from, to) {
  let count = 0;
  for (let n = Math.max(from, 2); n < to; n++) {
    let prime = true;
    for (let d = 2; d * d <= n && prime; d++) prime = n % d !== 0;
    if (prime) count++;
  }
  return count;
}

if (!isMainThread) {
  const { number, step, shared } = workerData;
  const words = new Int32Array(shared);
  const count = primes(number * step, (number + 1) * step);
  Atomics.add(words, 0, count);
  // In turns: each waits for the one before.
  while (Atomics.load(words, 1) !== number) Atomics.wait(words, 1, Atomics.load(words, 1), 1000);
  parentPort.postMessage({ number, count, big: 2n ** BigInt(number + 60) });
  Atomics.add(words, 1, 1);
  Atomics.notify(words, 1);
} else {
  const step = 20000 * Number(process.argv[2]);
  const shared = new SharedArrayBuffer(8);
  const lines = [];
  let left = 3;
  for (let number = 0; number < 3; number++) {
    const worker = new Worker(__filename, { workerData: { number, step, shared } });
    worker.on('message', ({ number: who, count, big }) => lines.push(`${who} ${count} ${big}`));
    worker.on('exit', (code) => {
      if (--left === 0) console.log(lines.sort(), new Int32Array(shared)[0], code);
    });
  }
  fs.writeFileSync('file', 'x'.repeat(100000));
  crypto.pbkdf2('secret', 'salt', 2000, 32, 'sha256', (error, key) => {
    fs.writeFileSync('key', key.toString('hex'));
  });
}
