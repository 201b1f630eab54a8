export type StreamEvent = {
  /** The `event` field, `message` where there was none. */
  type: string;
  data: string;
  /** The newest id so far, of this event or an earlier one; null before the first. */
  lastEventId: string | null;
};

type Handlers = {
  onEvent(event: StreamEvent): void;
  onRetry(retryMs: number): void;
};

/** A line longer than this is not ours: our largest, a tick of 200 servers, has about 150,000 characters. */
const maxBufferedCharacters = 2_000_000;

/**
 * Reads server-sent events out of text as it arrives, cut anywhere
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html, §9.2.6). Lines may end in LF, CR or both.
 * Throws RangeError when a line does not end.
 */
export function createEventParser({ onEvent, onRetry }: Handlers): (chunk: string) => void {
  let buffered = '';
  let type = '';
  let data: string[] = [];
  let lastEventId: string | null = null;

  function take(line: string): void {
    if (line === '') return dispatch();
    const colon = line.indexOf(':');
    // A line that starts with a colon is a comment, sent to keep the connection open.
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    switch (field) {
      case 'event':
        type = value;
        break;
      case 'data':
        data.push(value);
        break;
      case 'id':
        if (!value.includes('\0')) lastEventId = value;
        break;
      case 'retry':
        if (/^\d{1,7}$/.test(value)) onRetry(Number(value));
        break;
    }
  }

  function dispatch(): void {
    if (data.length > 0) onEvent({ type: type || 'message', data: data.join('\n'), lastEventId });
    type = '';
    data = [];
  }

  return chunk => {
    buffered += chunk;
    // A CR at the very end may be half of a CRLF; it waits for what follows.
    const lines = buffered.split(/\r\n|\n|\r(?=[^])/);
    buffered = lines.pop() ?? '';
    if (buffered.length > maxBufferedCharacters) throw new RangeError('a line of the stream does not end');
    for (const line of lines) take(line);
  };
}
