/** Shows the value of an attribute to be read: links, days and times in the user's language, nested values folded. */
import { useState } from 'preact/hooks';
import { formatCount, formatTimeText } from '../text/format.js';
import { BreakableText, ValueText } from '../ui/breakable-text.js';
import { isLink, sortedByKey } from '../users/attributes.js';
import type { JsonValue } from '../users/user-fields.js';

/** A longer text is cut until the user asks for the rest. */
const shortTextMax = 280;

export function AttributeValue({ value }: { value: JsonValue }) {
  if (value === null) return <em class="faint">No value</em>;
  if (typeof value === 'boolean') return <>{value ? 'Yes' : 'No'}</>;
  if (typeof value === 'number') return <span class="numeric">{value}</span>;
  if (typeof value === 'string') return <TextValue text={value} />;
  if (Array.isArray(value) && value.every((item) => typeof item !== 'object')) return <ListValue items={value} />;
  return <NestedValue value={value} />;
}

function TextValue({ text }: { text: string }) {
  const [isWhole, setWhole] = useState(false);
  if (text === '') return <em class="faint">Empty</em>;
  if (isLink(text)) {
    return (
      <a href={text} target="_blank" rel="noopener noreferrer">
        {text.replace(/^https?:\/\//, '')}
      </a>
    );
  }
  const time = formatTimeText(text);
  if (time !== undefined) {
    return (
      <time class="numeric" dateTime={text} title={text}>
        {time}
      </time>
    );
  }
  if (isWhole || text.length <= shortTextMax) {
    return (
      <span class="value-text" dir="auto">
        <ValueText text={text} />
      </span>
    );
  }
  const start = [...text.slice(0, shortTextMax)].slice(0, -1).join('');
  return (
    <span class="value-text" dir="auto">
      {start}
      <span class="on-screen">…</span>
      <span class="on-paper">{text.slice(start.length)}</span>
      <button type="button" class="button small" onClick={() => setWhole(true)}>
        Show all
      </button>
    </span>
  );
}

function ListValue({ items }: { items: readonly JsonValue[] }) {
  if (items.length === 0) return <em class="faint">Empty list</em>;
  return (
    <ul class="value-list">
      {items.map((item, index) => (
        <li key={index} class="badge">
          <span class="truncate" dir="auto" title={String(item)}>
            {item === '' ? <em>Empty</em> : <AttributeValue value={item} />}
          </span>
        </li>
      ))}
    </ul>
  );
}

function NestedValue({ value }: { value: JsonValue[] | { [key: string]: JsonValue } }) {
  const entries = Array.isArray(value) ? Object.entries(value) : sortedByKey(value);
  if (entries.length === 0) return <em class="faint">Empty</em>;
  const noun = Array.isArray(value) ? 'item' : 'field';
  return (
    <details class="nested">
      <summary>
        {formatCount(entries.length)} {noun}
        {entries.length === 1 ? '' : 's'}
      </summary>
      <dl class="facts">
        {entries.map(([key, item]) => (
          <div key={key}>
            <dt dir="auto">{Array.isArray(value) ? Number(key) + 1 : <BreakableText text={key} />}</dt>
            <dd>
              <AttributeValue value={item} />
            </dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
