/** The page's entry. */
import { render } from 'preact';
import { App } from './app.js';
import { createDirectory } from './directory.js';
import './styles/index.css';

// As in the server and the command line: otherwise the page would lose an attribute with this name.
Reflect.deleteProperty(Object.prototype, '__proto__');

const page = document.getElementById('page');
if (page !== null) render(<App directory={createDirectory()} />, page);
