/** The page's entry. */
import { render } from 'preact';
import { App } from './app.js';
import { createDirectory } from './directory.js';
import './style.css';
import './forms.css';

// As in the server and the command line: else an attribute of that name would be lost between a message and the page.
Reflect.deleteProperty(Object.prototype, '__proto__');

const page = document.getElementById('page');
if (page !== null) render(<App directory={createDirectory()} />, page);
