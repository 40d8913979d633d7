/** The page's entry point. */
import { render } from 'preact';
import { App } from './app.js';
import { createDirectory } from './directory.js';
import './styles/index.css';

const page = document.getElementById('page');
if (page !== null) render(<App directory={createDirectory()} />, page);
