/**
 * Measures the longest step of a service's event loop, in CPU time, which other load on the machine does not change. The
 * service loads this file with --import. It measures while a client is connected to STEP_PROBE_SOCKET, and then sends the
 * number.
 */
import { createServer } from 'node:net';

createServer({ allowHalfOpen: true }, (socket) => {
  let longestMs = 0;
  let isEnding = false;
  let last = process.threadCpuUsage();
  const step = () => {
    const now = process.threadCpuUsage();
    longestMs = Math.max(longestMs, (now.user + now.system - last.user - last.system) / 1000);
    last = now;
    if (isEnding) socket.end(String(longestMs));
    else setImmediate(step);
  };
  setImmediate(step);
  socket.resume().once('end', () => {
    isEnding = true;
  });
  socket.write('measuring\n');
})
  .listen(process.env.STEP_PROBE_SOCKET)
  .unref();
