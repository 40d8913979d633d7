/** Shows a cell of an import's file as its value will be stored. */
import { attributeKeyOf } from '../../src/fields.js';
import { kindOf, valueOfCell } from '../../src/user-files/cell-types.js';
import { fullNameColumn, splitFullName } from '../../src/user-files/full-name.js';
import type { Column } from '../../src/user-files/header.js';
import { isStray } from './import-attributes.js';

export function Sample({ column, cell }: { column: Column; cell: string }) {
  return (
    <span class="truncate" dir="auto">
      {cell === '' ? <i>empty</i> : <StoredValue column={column} cell={cell} />}
    </span>
  );
}

function StoredValue({ column: { field, type }, cell }: { column: Column; cell: string }) {
  if (field === 'email') return <>{cell.trim()}</>;
  if (field === fullNameColumn) {
    const { firstName, lastName } = splitFullName(cell);
    return (
      <>
        <i>first</i> <bdi>{firstName}</bdi>
        {lastName === '' ? null : (
          <>
            {' '}
            <i>last</i> <bdi>{lastName}</bdi>
          </>
        )}
      </>
    );
  }
  if (type === undefined || attributeKeyOf(field) === undefined) return <>{cell}</>;
  const value = valueOfCell(cell, type);
  if (isStray(value, kindOf(type))) {
    return (
      <>
        <span class="stray">{cell}</span> <i>as text</i>
      </>
    );
  }
  if (typeof value === 'boolean') return <>{value ? 'Yes' : 'No'}</>;
  if (!Array.isArray(value)) return <>{typeof value === 'object' ? JSON.stringify(value) : String(value)}</>;
  if (value.length === 0) return <i>empty list</i>;
  return <>{value.map((item) => (typeof item === 'string' ? item : JSON.stringify(item))).join(', ')}</>;
}
