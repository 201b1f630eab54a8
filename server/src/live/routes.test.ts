import { setTimeout as turn } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Client, startTestApp, type TestApp } from '../../test/app.ts';
import { parsePosition } from '../events/event.ts';

const path = '/api/v1/fleet/events';
let test: TestApp;
let admin: Client;
let other: Client;

beforeAll(async () => {
  test = await startTestApp();
  admin = await test.as('admin');
  other = await test.as('admin', 'other');
});
afterAll(() => test.close());

type Message = { id: string; event: string; data: string };

/** An open stream: its messages one by one, null when it has ended. */
async function open(who: Client, options: { lastEventId?: string; watch?: string; app?: TestApp } = {}) {
  const { lastEventId, watch, app = test } = options;
  const stopped = new AbortController();
  const response = await fetch(`${app.url}${path}${watch === undefined ? '' : `?watch=${watch}`}`, {
    signal: stopped.signal,
    headers: {
      authorization: `Bearer ${who.token}`,
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    },
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  return {
    response,
    async next(): Promise<Message | null> {
      for (;;) {
        const end = text.indexOf('\n\n');
        if (end >= 0) {
          const block = text.slice(0, end);
          text = text.slice(end + 2);
          const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? '';
          if (field('event') !== '') return { id: field('id'), event: field('event'), data: field('data') };
          continue;
        }
        const { value, done } = await reader.read();
        if (done) return null;
        text += value;
      }
    },
    close: () => stopped.abort(),
  };
}

let groups = 0;
const makeGroup = async (who: Client): Promise<string> => {
  groups += 1;
  const answer = await who.post('/api/v1/fleet/groups', { name: `group ${groups}` });
  expect(answer.status).toBe(201);
  return answer.body.group.id;
};
const subjectOf = (message: Message | null): string => JSON.parse(message!.data).subject;

it('says hello with the position it starts from, and is never stored or compressed on the way', async () => {
  const stream = await open(admin);
  const hello = await stream.next();
  expect(hello).toMatchObject({ event: 'hello' });
  expect(parsePosition(hello!.id)).not.toBeNull();
  expect(stream.response.headers.get('content-type')).toBe('text/event-stream');
  expect(stream.response.headers.get('cache-control')).toBe('no-store');
  expect(stream.response.headers.get('x-content-type-options')).toBe('nosniff');
  stream.close();
});

it('tells every event of the organization in order, and none of another one', async () => {
  const stream = await open(admin);
  await stream.next();
  const made: string[] = [];
  for (let count = 0; count < 3; count += 1) {
    await makeGroup(other);
    made.push(await makeGroup(admin));
  }
  const told = [await stream.next(), await stream.next(), await stream.next()];
  expect(told.map(message => message?.event)).toEqual(Array<string>(3).fill('group.created'));
  expect(told.map(subjectOf)).toEqual(made);
  stream.close();
});

it('goes on after the last event a client has seen: nothing is missed, nothing told twice', async () => {
  const first = await open(admin);
  await first.next();
  const made = [await makeGroup(admin)];
  const seen = await first.next();
  first.close();
  made.push(await makeGroup(admin), await makeGroup(admin));
  const second = await open(admin, { lastEventId: seen!.id });
  made.push(await makeGroup(admin));
  expect([
    subjectOf(seen),
    ...[await second.next(), await second.next(), await second.next()].map(subjectOf),
  ]).toEqual(made);
  second.close();
});

it.each([
  ['nothing that is a position', 'nonsense'],
  ['a position before the first event there is', '1-1'],
  ['a position in the future', '999999999999-1'],
])('asks the client to read everything again after %s, and goes on from now', async (_what, lastEventId) => {
  await makeGroup(admin);
  const stream = await open(admin, { lastEventId });
  expect(await stream.next()).toMatchObject({ event: 'resync', data: '{}' });
  const group = await makeGroup(admin);
  expect(subjectOf(await stream.next())).toBe(group);
  stream.close();
});

it("shows the state of watched servers, and is silent about another organization's", async () => {
  const register = async (who: Client, name: string): Promise<string> => {
    const registration = {
      name,
      hostname: 'h',
      api_url: `https://${name}.example.com`,
      api_token: 'credential',
    };
    return (await who.post('/api/v1/fleet/servers', registration)).body.server.id;
  };
  const [mine, theirs] = [await register(admin, 'mine'), await register(other, 'theirs')];
  const stream = await open(admin, { watch: [theirs, 'nonsense', mine].join(',') });
  await stream.next();
  const tick = await stream.next();
  expect(tick!.event).toBe('tick');
  expect(JSON.parse(tick!.data).servers.map((server: { id: string }) => server.id)).toEqual([mine]);
  stream.close();
});

it('refuses to watch more than 200 servers', async () => {
  expect((await admin.get(`${path}?watch=${Array(201).fill('a').join(',')}`)).status).toBe(422);
});

it('answers HEAD with its head alone', async () => {
  const headers = { authorization: `Bearer ${admin.token}` };
  const response = await fetch(test.url + path, {
    method: 'HEAD',
    headers,
    signal: AbortSignal.timeout(5_000),
  });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  while ((await openStreams()) > 0) await turn(10);
});

/** Streams that the process says are open. */
async function openStreams(): Promise<number> {
  const { text } = await admin.get('/metrics');
  return Number(/^opsfleet_live_streams (\d+)$/m.exec(text)![1]);
}

it('ends when the program stops', async () => {
  const app = await startTestApp();
  const stream = await open(await app.as('viewer'), { app });
  await stream.next();
  const [end] = await Promise.all([stream.next().catch(() => null), app.close()]);
  expect(end).toBeNull();
});
