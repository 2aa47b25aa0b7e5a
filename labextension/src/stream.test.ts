import { expect, it } from 'vitest';

import type { RunEvent } from './model';
import { readEvents } from './stream';

function body(...chunks: string[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      chunks.forEach(chunk => controller.enqueue(encoder.encode(chunk)));
      controller.close();
    }
  });
}

async function read(...chunks: string[]): Promise<RunEvent[]> {
  const events: RunEvent[] = [];
  for await (const event of readEvents(body(...chunks))) {
    events.push(event);
  }
  return events;
}

it('puts events together that arrive in pieces', async () => {
  const events = await read(
    'id: 1\nevent: log\nda',
    'ta: {"id":"1","type":"log",',
    '"log":"ä"}\n\n'
  );
  expect(events).toEqual([{ id: '1', type: 'log', log: 'ä' }]);
});

it('passes over comments, which keep the connection alive', async () => {
  expect(await read(': still here\n\ndata: {"id":"2","type":"end"}\r\n\r\n')).toHaveLength(1);
});

it('keeps nothing of an event that was cut off', async () => {
  expect(await read('data: {"id":"3"')).toEqual([]);
});
