import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Stands between a program and PostgreSQL's unix socket, and cuts the line when it is told to. */
export type DatabaseProxy = {
  port: number;
  /** Breaks every connection, and every new one until `restore`. */
  cut(): void;
  /** Swallows what is said on every line, old and new: nothing arrives on either side, and nobody is told. */
  hang(): void;
  /** Swallows the answers alone: what is asked is done. */
  loseAllAnswers(): void;
  /** Holds back every answer for so long. */
  delay(ms: number): void;
  /** Answers everybody who comes with that SQLSTATE instead, as a server that is not ready does. */
  refuse(sqlState: string): void;
  /** Passes everything on again. Lines that have lost something are broken. */
  restore(): void;
  /**
   * Breaks the connection instead of passing on the next `times` answers with that command tag: what was
   * asked for is done, and the one who asked never hears of it.
   */
  loseAnswers(tag: 'COMMIT' | 'INSERT' | 'UPDATE', times: number): void;
  /** Answers lost so far. */
  lost(): number;
  stop(): Promise<void>;
};

/** Starts one on 127.0.0.1 and a free port. `host` is the directory of the server's socket. */
export async function startDatabaseProxy({
  host,
  port,
}: {
  host: string;
  port: number;
}): Promise<DatabaseProxy> {
  const pairs = new Set<[Socket, Socket]>();
  const losing = new Map<string, number>();
  type Mode = 'pass' | 'cut' | 'hang' | 'lose answers' | { delayMs: number } | { refusal: string };
  let mode: Mode = 'pass';
  let lost = 0;
  /** Pairs on whose line something was swallowed. */
  const damaged = new Set<[Socket, Socket]>();

  const loses = (answer: Buffer): boolean => {
    for (const [tag, times] of losing) {
      if (times === 0 || !isAnswerTo(tag, answer)) continue;
      losing.set(tag, times - 1);
      lost += 1;
      return true;
    }
    return false;
  };
  const server = createServer(client => {
    const upstream = connect(`${host}/.s.PGSQL.${port}`);
    const pair: [Socket, Socket] = [client, upstream];
    const end = (): void => {
      pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    pairs.add(pair);
    for (const socket of pair) socket.on('error', end).on('close', end);
    if (mode === 'cut') return end();
    if (typeof mode === 'object' && 'refusal' in mode) {
      const answer = errorResponse(mode.refusal);
      client.once('data', () => client.end(answer));
      return;
    }
    client.on('data', chunk => {
      if (mode === 'hang') damaged.add(pair);
      else upstream.write(chunk);
    });
    upstream.on('data', chunk => {
      if (mode === 'hang' || mode === 'lose answers') damaged.add(pair);
      else if (loses(chunk)) end();
      else if (typeof mode === 'object' && 'delayMs' in mode)
        setTimeout(() => client.write(chunk), mode.delayMs);
      else client.write(chunk);
    });
  });
  const breakLines = (broken: ReadonlySet<[Socket, Socket]>): void => {
    for (const pair of broken) for (const socket of pair) socket.destroy();
  };
  const cut = (): void => {
    mode = 'cut';
    breakLines(pairs);
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    hang() {
      mode = 'hang';
    },
    loseAllAnswers() {
      mode = 'lose answers';
    },
    delay(ms) {
      mode = { delayMs: ms };
    },
    refuse(sqlState) {
      mode = { refusal: sqlState };
      breakLines(pairs);
    },
    restore() {
      mode = 'pass';
      breakLines(damaged);
      damaged.clear();
    },
    loseAnswers(tag, times) {
      losing.set(tag, times);
    },
    lost: () => lost,
    async stop() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}

/** CommandComplete, https://www.postgresql.org/docs/current/protocol-message-formats.html: `C`, a length, the tag. */
const isAnswerTo = (tag: string, answer: Buffer): boolean =>
  new RegExp(`C\\0\\0\\0.${tag}[ \\0]`, 's').test(answer.toString('latin1'));

/** ErrorResponse, same page: `E`, a length, fields of a letter and a text each, and a zero. */
function errorResponse(sqlState: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${sqlState}\0Mnot now\0\0`);
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeUInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}
