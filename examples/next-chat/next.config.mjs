// Files and nothing else: the page talks to Mainstem, wherever it comes from.
export default { output: 'export' };
