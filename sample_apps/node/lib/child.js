process.stdout.write('from a child, ' + require('os').EOL.length);
