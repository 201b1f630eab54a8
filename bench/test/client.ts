import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Clock } from '../src/simulator/fleet.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../src/simulator/simulator.ts';

const running: Simulator[] = [];
const sockets: Socket[] = [];
const sessions = new Map<string, Buffer>();

/** Ends every simulator and client of the test that has just run. */
export async function endAll(): Promise<void> {
  for (const socket of sockets.splice(0)) socket.destroy();
  sessions.clear();
  for (const simulator of running.splice(0)) await simulator.stop();
}

/** A simulator on a free port. */
export async function start(options: Partial<SimulatorOptions>, clock?: Clock): Promise<Simulator> {
  const simulator = await startSimulator({ port: 0, ...options }, clock);
  running.push(simulator);
  return simulator;
}

/** A socket whose connect to a server, or to an address, has begun. Its errors are left to those who wait for them. */
export function dial(simulator: Simulator, to: number | string): Socket {
  const host = typeof to === 'string' ? to : simulator.targets[to]!.address;
  const socket = connect({ host, port: simulator.port });
  socket.on('error', () => {});
  socket.setEncoding('latin1');
  sockets.push(socket);
  return socket;
}

/** The same over TLS, resuming the session that the last one left. */
export function dialTls(simulator: Simulator, place: number): TLSSocket {
  const { address } = simulator.targets[place]!;
  const session = sessions.get(address);
  const socket = connectTls({
    host: address,
    port: simulator.port,
    ca: simulator.authorities!,
    ...(session === undefined ? {} : { session }),
  });
  socket.on('error', () => {});
  socket.on('session', ticket => sessions.set(address, ticket));
  socket.setEncoding('latin1');
  sockets.push(socket);
  return socket;
}

/** Resolves with the code of the error that ends the socket. */
export async function failure(socket: Socket): Promise<string | undefined> {
  const [error]: NodeJS.ErrnoException[] = await once(socket, 'error');
  return error?.code;
}

export function requestTo(simulator: Simulator, index: number, path = '/health', fields = ''): string {
  const { token } = simulator.targets[index]!;
  return `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n${fields}\r\n`;
}

type Answer = { status: number; body: string };

/** Reads as many answers as are asked for from the connection, in their order. */
export async function readAnswers(socket: Socket, count: number): Promise<Answer[]> {
  const answers: Answer[] = [];
  let text = '';
  while (answers.length < count) {
    const match = /^HTTP\/1\.1 (\d+) .*?Content-Length: (\d+)\r\n\r\n/s.exec(text);
    const end = match === null ? Number.POSITIVE_INFINITY : match[0].length + Number(match[2]);
    if (text.length >= end) {
      answers.push({ status: Number(match![1]), body: text.slice(match![0].length, end) });
      text = text.slice(end);
    } else {
      const [chunk] = await once(socket, 'data');
      text += chunk;
    }
  }
  if (text !== '') throw new Error(`More than ${count} answers arrived`);
  return answers;
}

export async function ask(simulator: Simulator, index: number, path?: string): Promise<Answer> {
  const socket = dial(simulator, index);
  socket.write(requestTo(simulator, index, path));
  const [answer] = await readAnswers(socket, 1);
  return answer!;
}

/** The kernel's word on the connects to an address that have sent their SYN and heard nothing. */
export async function pendingConnects(simulator: Simulator, index: number): Promise<number> {
  const { address } = simulator.targets[index]!;
  const hex = Buffer.from(address.split('.').map(Number))
    .readUInt32LE(0)
    .toString(16)
    .toUpperCase()
    .padStart(8, '0');
  const remote = `${hex}:${simulator.port.toString(16).toUpperCase().padStart(4, '0')}`;
  const table = await readFile('/proc/net/tcp', 'latin1');
  return table.split('\n').filter(line => {
    const [, , to, state] = line.trim().split(/\s+/);
    return to === remote && state === '02';
  }).length;
}
