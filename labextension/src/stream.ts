import type { RunEvent } from './model';

/** Split a server-sent event stream into the JSON of its events. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<RunEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      const blocks = (rest + decoder.decode(value, { stream: true }))
        .replace(/\r\n?/g, '\n')
        .split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const event = parseEvent(block);
        if (event) {
          yield event;
        }
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

/** Parse one block; comments, which keep the connection alive, give null. */
export function parseEvent(block: string): RunEvent | null {
  const data = block
    .split('\n')
    .filter(line => line.startsWith('data:'))
    .map(line => line.slice(5).replace(/^ /, ''))
    .join('\n');
  return data ? (JSON.parse(data) as RunEvent) : null;
}
