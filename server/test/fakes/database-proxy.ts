import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Stands between a program and PostgreSQL's unix socket, and cuts the line when it is told to. */
export type DatabaseProxy = {
  port: number;
  /** Breaks every connection, and every new one until `restore`. */
  cut(): void;
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
  let isCut = false;
  let lost = 0;

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
    if (isCut) return end();
    client.on('data', chunk => upstream.write(chunk));
    upstream.on('data', chunk => {
      if (loses(chunk)) end();
      else client.write(chunk);
    });
  });
  const cut = (): void => {
    isCut = true;
    for (const pair of pairs) for (const socket of pair) socket.destroy();
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    restore() {
      isCut = false;
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
