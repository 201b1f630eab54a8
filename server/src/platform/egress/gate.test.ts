import { expect, it } from 'vitest';
import { createGate } from './gate.ts';

it('lets so many through and the rest wait in order', async () => {
  const gate = createGate(2);
  const order: string[] = [];
  const leaveFirst = await gate.enter();
  const leaveSecond = await gate.enter();
  const third = gate.enter().then(leave => (order.push('third'), leave));
  const fourth = gate.enter().then(leave => (order.push('fourth'), leave));
  expect([gate.running, gate.waiting]).toEqual([2, 2]);

  leaveSecond();
  const leaveThird = await third;
  expect(order).toEqual(['third']);
  leaveFirst();
  const leaveFourth = await fourth;
  expect(order).toEqual(['third', 'fourth']);
  leaveThird();
  leaveFourth();
  expect([gate.running, gate.waiting]).toEqual([0, 0]);
});

it('lets those that come first through before those that came earlier', async () => {
  const gate = createGate(1);
  const order: string[] = [];
  const leave = await gate.enter();
  const pass = async (name: string, first: boolean) => {
    const leaveNext = await gate.enter({ first });
    order.push(name);
    leaveNext();
  };
  const all = [pass('a', false), pass('b', true), pass('c', false), pass('d', true)];
  expect(gate.waiting).toBe(4);
  leave();
  await Promise.all(all);
  expect(order).toEqual(['b', 'd', 'a', 'c']);
});

it('takes a place back once, however often it is given', async () => {
  const gate = createGate(1);
  const leave = await gate.enter();
  leave();
  leave();
  expect(gate.running).toBe(0);
  await gate.enter();
  const waiting = gate.enter();
  expect(gate.waiting).toBe(1);
  leave();
  expect(gate.waiting).toBe(1);
  void waiting;
});

it('forgets who gives up waiting, and gives the place to the next', async () => {
  const gate = createGate(1);
  const leave = await gate.enter();
  const abort = new AbortController();
  const given = gate.enter({ signal: abort.signal });
  const next = gate.enter();
  abort.abort(new Error('late'));
  await expect(given).rejects.toThrow('late');
  expect(gate.waiting).toBe(1);
  leave();
  await next;
  expect([gate.running, gate.waiting]).toEqual([1, 0]);
});

it('does not admit who has given up before', async () => {
  const gate = createGate(1);
  await expect(gate.enter({ signal: AbortSignal.abort(new Error('over')) })).rejects.toThrow('over');
  expect(gate.running).toBe(0);
});
