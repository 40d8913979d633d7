/** Tests which spellings of a text a filter looks for. */
import { describe, expect, it } from 'vitest';
import { spellings } from '../../web/text/spellings.js';

describe('the spellings of a text', () => {
  it('are few for most texts, and begin with the text itself', () => {
    expect(spellings('field sALES', false)).toEqual([
      'field sALES',
      'field sales',
      'FIELD SALES',
      'Field sales',
      'Field Sales',
    ]);
    expect(spellings("women's", false)).toEqual(["women's", 'women’s', "WOMEN'S", 'WOMEN’S', "Women's", 'Women’s']);
    expect(spellings('42', false)).toEqual(['42']);
  });

  it.each([
    ["o'brien", "O'Brien", 'O’Brien', 'O’BRIEN'],
    ['O’BRIEN', "O'Brien", "o'brien"],
    ['oʼbrien', 'Oʼbrien', 'O’Brien'],
    ["d'angelo", "D'Angelo", 'd’Angelo'],
    ["sinead o'connor", "Sinead O'Connor"],
    ['mcdonald', 'McDonald', 'Mcdonald'],
    ['ronald macdonald-smith', 'Ronald MacDonald-Smith', 'Ronald Macdonald-Smith'],
    ['devito', 'DeVito', 'Devito'],
    ['jan van der berg', 'Jan van der Berg', 'Jan Van Der Berg'],
    ['DE LA CRUZ', 'De la Cruz', 'de la Cruz', 'De La Cruz'],
  ])('contain the usual ones of the name %s', (typed, ...expected) => {
    expect(spellings(typed, true)).toEqual(expect.arrayContaining(expected));
  });

  it('have the prefixes of first and last names only in names', () => {
    expect(spellings('design', true)).toContain('DeSign');
    expect(spellings('design', false)).toEqual(['design', 'DESIGN', 'Design']);
  });
});
