/** Tests finding out how the cells of a column write numbers and dates. */
import { expect, it } from 'vitest';
import { createCellStyle } from '../../src/user-files/cell-style.js';

function styleOf(cells: readonly string[]) {
  const style = createCellStyle();
  for (const cell of cells) style.add(cell);
  return style.result();
}

it.each([
  ['commaNumber', ['1.234', '1.234,56']],
  ['commaNumber', ['1,234', '', 'n/a', '12,5']],
  ['commaNumber', ['1 234,56']],
  ['commaNumber', ['1.234.567']],
  ['pointNumber', ['1,234', '-1,234.5']],
  ['pointNumber', ['1,234', '7.50']],
  ['pointNumber', ['1,234,567']],
  ['number', []],
  ['number', ['3', '1 234']],
  ['pointNumber', ['0.123', '1.234']],
] as const)('numbers are of the type %s if the cells are %j', (type, cells) => {
  expect(styleOf(cells).numbers).toEqual([type]);
});

it.each([
  [['1,000', '2,500'], '1,000'],
  [['3', ' -1,234'], '-1,234'],
  [['1.234', '5.678'], '1.234'],
  [['1,234', '1.234'], '1,234'],
  [['1.234,56', '1,234.56'], '1,000'],
  [['12,5', '7.50', '1.234'], '1.234'],
])('a point or a comma has two meanings if the cells are %j', (cells, unclearNumber) => {
  expect(styleOf(cells)).toMatchObject({ numbers: ['pointNumber', 'commaNumber'], unclearNumber, common: undefined });
});

it.each([
  [['dayFirstDate'], ['01.02.2024', '31.12.2024']],
  [['dayFirstDate'], ['', '13/1/2024', '2024-01-02']],
  [['monthFirstDate'], ['12/31/2024', '01/02/2024']],
  [['dayFirstDate'], ['2024-12-31', '31 Dec 2024', '02/02/2024', 'n/a', '99.99.2024']],
  [['dayFirstDate', 'monthFirstDate'], ['01/02/2024']],
  [
    ['dayFirstDate', 'monthFirstDate'],
    ['12/31/2024', '31/12/2024'],
  ],
] as const)('dates are of the types %j if the cells are %j', (types, cells) => {
  expect(styleOf(cells).dates).toEqual(types);
});

it.each([
  ['number', ['3', '', '-12', ' 7 ', '0']],
  ['number', ['1\u202f234', '5']],
  ['pointNumber', ['7.5', '1.234', '12']],
  ['pointNumber', ['7.50', '1,234.00', '0.99']],
  ['commaNumber', ['7,50', '1.234,00']],
  ['commaNumber', ['1.234,5', '7']],
  ['boolean', ['yes', 'NO', '']],
  ['boolean', ['true', 'False']],
  ['dayFirstDate', ['31.12.2024', '01.02.2024', '']],
  ['monthFirstDate', ['12/31/2024', '1/2/2024']],
  ['dayFirstDate', ['2024-12-31', '2024-01-02']],
  ['dayFirstDate', ['5 May 2024', 'June 6, 2024']],
] as const)('all cells have the type %s: %j', (type, cells) => {
  expect(styleOf(cells).common).toBe(type);
});

it.each([
  [[]],
  [['', '']],
  [['3', 'n/a']],
  [['3', ' ']],
  [['00123', '45']],
  [['+49 30 1234567']],
  [['600 123 456']],
  [['1234567890123456']],
  [['12E4', '5']],
  [['1.9', '1.10']],
  [['1.10', '2']],
  [['1,9', '1.000,10']],
  [['1.234', '5.678']],
  [['1,234']],
  [['12,5', '7.50']],
  [['{"a":1}', '[1]']],
  [['3', 'yes']],
  [['1', 'yes', '0']],
  [['01/02/2024', '2024-12-31']],
  [['12/31/2024', '31/12/2024']],
  [['2024-02-30']],
  [['2024-12-31', 'soon']],
  [['2024-12-31', '3']],
])('not all cells certainly have one type: %j', (cells) => {
  expect(styleOf(cells).common).toBeUndefined();
});
