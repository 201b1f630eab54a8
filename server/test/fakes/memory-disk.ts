import type { SpoolFiles } from '../../src/platform/spool.ts';

/** A disk in memory, whose power can fail at any byte. */
export type MemoryDisk = {
  files: SpoolFiles;
  /** The power fails once that many more bytes have been written; a name, a cut and a removal count as one. */
  crashAfter(bytes: number): void;
  isDown(): boolean;
  /**
   * Power again. Of the bytes that were being written the disk has those that had got there; `zeros`: the file
   * has its new length, with zeros for the rest.
   */
  restart(zeros: boolean): void;
  /** From now on writing fails with that code, half done; null: it works. */
  refuseWrites(code: string | null): void;
  names(): string[];
  bytes(name: string): Uint8Array;
  write(name: string, bytes: Uint8Array): void;
};

export function createMemoryDisk(): MemoryDisk {
  const contents = new Map<string, Uint8Array>();
  let leftBytes = Number.POSITIVE_INFINITY;
  let refusal: string | null = null;
  let torn: { name: string; missingBytes: number } | null = null;

  const failure = (code: string): Error => Object.assign(new Error(code), { code });
  const of = (name: string): Uint8Array => {
    const bytes = contents.get(name);
    if (bytes === undefined) throw failure('ENOENT');
    return bytes;
  };
  /** How many of the bytes get there. */
  function spend(bytes: number): number {
    if (leftBytes <= 0) throw failure('EIO');
    const done = Math.min(bytes, leftBytes);
    leftBytes -= done;
    return done;
  }
  const step = async (): Promise<void> => {
    await Promise.resolve();
    if (leftBytes <= 0) throw failure('EIO');
  };

  return {
    files: {
      async list() {
        await step();
        return [...contents.keys()];
      },
      async read(name) {
        await step();
        return Uint8Array.from(of(name));
      },
      async append(name, bytes) {
        await step();
        const before = contents.get(name) ?? new Uint8Array();
        if (!contents.has(name) && spend(1) === 0) throw failure('EIO');
        const done = refusal === null ? spend(bytes.length) : bytes.length >> 1;
        contents.set(name, Buffer.concat([before, bytes.subarray(0, done)]));
        if (refusal !== null) throw failure(refusal);
        if (done < bytes.length) torn = { name, missingBytes: bytes.length - done };
        // The sync: where the power fails in it, all bytes may have got there and nobody knows.
        if (done < bytes.length || spend(1) === 0) throw failure('EIO');
      },
      async truncate(name, bytes) {
        await step();
        spend(1);
        if (refusal !== null) throw failure(refusal);
        contents.set(name, of(name).subarray(0, bytes));
      },
      async remove(name) {
        await step();
        spend(1);
        contents.delete(name);
      },
    },
    crashAfter(bytes) {
      leftBytes = bytes;
    },
    isDown: () => leftBytes <= 0,
    restart(zeros) {
      if (zeros && torn !== null)
        contents.set(torn.name, Buffer.concat([of(torn.name), new Uint8Array(torn.missingBytes)]));
      torn = null;
      leftBytes = Number.POSITIVE_INFINITY;
    },
    refuseWrites(code) {
      refusal = code;
    },
    names: () => [...contents.keys()],
    bytes: name => of(name),
    write(name, bytes) {
      contents.set(name, bytes);
    },
  };
}
