/** Addresses, and clients with several servers. */
import { ServerError, Status } from 'nice-grpc';
import { describe, expect, it, vi } from 'vitest';
import { parseAddress } from '../../src/client/channel.js';
import { createClient } from '../../src/client/index.js';
import { type ScriptedServer, startScriptedServer } from './scripted-server.js';

/** Far more than the slowest machine needs. */
const waitOptions = { timeout: 30_000 };

describe('an address', () => {
  it.each([
    ['localhost:50051', 'localhost:50051', true],
    ['roster.example', 'roster.example:50051', false],
    ['127.0.0.1:1', '127.0.0.1:1', true],
    ['[::1]:1', '[::1]:1', true],
    ['[2001:db8::1]', '[2001:db8::1]:50051', false],
    ['dns:///roster.example:1', 'dns:///roster.example:1', false],
    ['dns://8.8.8.8/localhost:1', 'dns://8.8.8.8/localhost:1', true],
    ['ipv4:127.0.0.1:1,10.0.0.1:1', 'ipv4:127.0.0.1:1,10.0.0.1:1', false],
    ['unix:/run/roster', 'unix:/run/roster', true],
    ['localhost.example:1', 'localhost.example:1', false],
  ])('%s connects to %s', (address, target, local) => {
    expect(parseAddress(address)).toEqual({ target, local });
  });

  it.each(['', ' ', 'https://roster.example', 'http://localhost:50051', '::1', 'a/b', 'localhost:port', 'xds:///a'])(
    'must not be "%s"',
    (address) => {
      expect(() => parseAddress(address)).toThrow(TypeError);
    },
  );

  it('is required', () => {
    expect(() => createClient({ address: [] })).toThrow(TypeError);
  });
});

describe('several servers', () => {
  const answer = { getUser: async () => ({}), updateUser: async () => ({}) };

  function count(servers: readonly ScriptedServer[]): number[] {
    return servers.map(({ calls }) => calls.length);
  }

  it('are called in rotation', async () => {
    await using first = await startScriptedServer(answer);
    await using second = await startScriptedServer(answer);
    await using third = await startScriptedServer(answer);
    const servers = [first, second, third];
    using client = createClient({ address: servers.map(({ address }) => address) });
    // Until all servers are connected, only connected ones get calls.
    await vi.waitFor(async () => {
      await client.getUser({});
      expect(Math.min(...count(servers))).toBeGreaterThan(0);
    }, waitOptions);
    const before = count(servers);
    for (let call = 0; call < 9; call++) await client.updateUser({});
    expect(count(servers).map((calls, index) => calls - (before[index] ?? 0))).toEqual([3, 3, 3]);
  });

  it('with one name are also called in rotation', async () => {
    await using first = await startScriptedServer(answer);
    await using second = await startScriptedServer(answer);
    using client = createClient({ address: `ipv4:${first.address},${second.address}` });
    await vi.waitFor(async () => {
      await client.getUser({});
      expect(Math.min(...count([first, second]))).toBeGreaterThan(0);
    }, waitOptions);
  });

  it('share the attempts of one call', async () => {
    const unavailable = await startScriptedServer({});
    await unavailable[Symbol.asyncDispose]();
    await using server = await startScriptedServer(answer);
    using client = createClient({ address: [unavailable.address, server.address] });
    await client.getUser({}, { attemptsMax: 2 });
    // The client now knows the dead server, so calls that must not run twice avoid it.
    for (let call = 0; call < 4; call++) await client.updateUser({});
    expect(server.calls).toHaveLength(5);
  });

  it('share the attempts of a call that must not run twice, if it found no connection', async () => {
    const unavailable = await startScriptedServer({});
    await unavailable[Symbol.asyncDispose]();
    await using server = await startScriptedServer(answer);
    using client = createClient({ address: [unavailable.address, server.address] });
    for (let call = 0; call < 4; call++) await client.updateUser({});
    expect(server.calls).toHaveLength(4);
  });

  it('do not share the attempts of a call that must not run twice, if a server has received it', async () => {
    const refuse = async () => {
      throw new ServerError(Status.UNAVAILABLE, 'No connection established, says a server.');
    };
    await using refusing = await startScriptedServer({ updateUser: refuse });
    await using other = await startScriptedServer({ updateUser: refuse });
    using client = createClient({ address: [refusing.address, other.address] });
    await expect(client.updateUser({})).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(refusing.calls.length + other.calls.length).toBe(1);
  });

  it('are avoided after a failed call, until they serve', async () => {
    let refuses = true;
    const refusing = await startScriptedServer({
      updateUser: async () => {
        if (refuses) throw new ServerError(Status.UNAVAILABLE, 'Refused.');
        return {};
      },
    });
    await using _refusing = refusing;
    await using steady = await startScriptedServer(answer);
    using client = createClient({ address: [refusing.address, steady.address], attemptsMax: 1 });
    await vi.waitFor(async () => {
      await expect(client.updateUser({})).rejects.toThrow('Refused.');
    }, waitOptions);
    const before = refusing.calls.length;
    for (let call = 0; call < 10; call++) await client.updateUser({});
    expect(refusing.calls).toHaveLength(before);
    refuses = false;
    // It has no health service, so it is no longer avoided after the first check.
    await vi.waitFor(async () => {
      await client.updateUser({});
      expect(refusing.calls.length).toBeGreaterThan(before);
    }, waitOptions);
  });

  it('get calls again after they are back', async () => {
    await using steady = await startScriptedServer(answer);
    const stopped = await startScriptedServer(answer);
    using client = createClient({ address: [stopped.address, steady.address] });
    await vi.waitFor(async () => {
      await client.getUser({});
      expect(stopped.calls.length).toBeGreaterThan(0);
    }, waitOptions);
    await stopped[Symbol.asyncDispose]();
    await client.getUser({});
    await client.getUser({});
    await using back = await startScriptedServer(answer, { port: stopped.port });
    await vi.waitFor(async () => {
      await client.getUser({});
      expect(back.calls.length).toBeGreaterThan(0);
    }, waitOptions);
  });
});
