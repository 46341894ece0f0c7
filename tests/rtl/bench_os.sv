// Memories, controller and skew registers around an output-stationary array. Runs the cases of the file +stimuli=..., prints for
// every result "<column> <edge> <value>", or "<row * C + column> <edge> <value>" in place, and "end" after each case.
module bench_os
  import words::*;
#(parameter R = 2, C = 2, OUTPUTS = 0, FOLDS = 64, DEPTH = 8192);
  logic clk = 0, rst = 1, go = 0;
  always #1 clk = !clk;

  logic overlap, full;
  logic [15:0] folds, fold_words[FOLDS], fold_rows[FOLDS], fold_columns[FOLDS];
  logic [31:0] fold_start[FOLDS];  // its first word in the memories
  logic [R-1:0][15:0] row_memory[DEPTH];
  logic [C-1:0][15:0] column_memory[DEPTH];

  logic [15:0] fold, word;
  logic [R-1:0] row_used, row_bottom, lowest_last;
  logic [C-1:0] column_used, column_right;
  logic first, last, send, done;
  control_os #(.R(R), .C(C), .OUTPUTS(OUTPUTS)) control (
      .clk, .rst, .go, .overlap, .full, .folds, .fold,
      .fold_words(fold_words[fold]), .fold_rows(fold_rows[fold]), .fold_columns(fold_columns[fold]),
      .done, .lowest_last, .word, .first, .last, .row_used, .row_bottom, .column_used, .column_right, .send
  );

  // What the memories give in this cycle; x where there is nothing, so that a PE that uses it shows.
  logic [R-1:0][15:0] row_data;
  logic [C-1:0][15:0] column_data;
  logic [R-1:0][$bits(row_word)-1:0] row_issue, rows;
  logic [C-1:0][$bits(column_word)-1:0] column_issue, columns;
  logic [C-1:0][$bits(sum_word)-1:0] results;
  assign row_data = row_memory[fold_start[fold] + word];
  assign column_data = column_memory[fold_start[fold] + word];
  for (genvar i = 0; i < R; i++) begin : row
    wire row_word entering = rows[i];
    assign row_issue[i] = {row_used[i], first, last, row_bottom[i], row_used[i] ? row_data[i] : 16'bx};
    assign lowest_last[i] = entering.valid && entering.last && entering.bottom;
  end
  for (genvar j = 0; j < C; j++) begin : column
    assign column_issue[j] = {column_used[j], column_right[j], column_used[j] ? column_data[j] : 16'bx};
  end
  skew #(.LANES(R), .WIDTH($bits(row_word))) row_skew (.clk, .rst, .in(row_issue), .out(rows));
  skew #(.LANES(C), .WIDTH($bits(column_word))) column_skew (.clk, .rst, .in(column_issue), .out(columns));

  logic [R*C-1:0] finished_final;
  array_os #(.R(R), .C(C), .OUTPUTS(OUTPUTS)) array (.clk, .rst, .rows, .columns, .send, .finished_final, .results);

  logic [C-1:0] finals;
  for (genvar j = 0; j < C; j++) begin : bottom
    wire sum_word result = results[j];
    assign finals[j] = result.valid && result.final_one;
  end
  assign done = |finals || |finished_final;

  // Edge 1 latches the first operands at PE(0, 0).
  int edges = 0;
  always_ff @(posedge clk) edges <= rst ? 0 : edges + (edges != 0 || row_used[0]);

  int file, status, cases, expected, limit, seen = 0, start;
  string path;
  logic [R*16-1:0] row_line;
  logic [C*16-1:0] column_line;
  if (OUTPUTS == 0) begin : read_in_place
    for (genvar i = 0; i < R; i++)
    for (genvar j = 0; j < C; j++)
      always @(negedge clk)
        if (array.row[i].column[j].finished === 1'b1) begin
          $display("%0d %0d %0d", i * C + j, edges, array.row[i].column[j].pe.accumulator);
          seen += 1;
        end
  end else begin : read_beyond
    for (genvar j = 0; j < C; j++)
      always @(negedge clk)
        if (bottom[j].result.valid === 1'b1) begin
          $display("%0d %0d %0d", j, edges, $signed(bottom[j].result.data));
          seen += 1;
        end
  end

  initial begin
    status = $value$plusargs("stimuli=%s", path);
    file = $fopen(path, "r");
    status = $fscanf(file, "%d", cases);
    repeat (cases) begin
      status = $fscanf(file, "%d %d %d %d %d", overlap, full, folds, expected, limit);
      start = 0;
      for (int f = 0; f < folds; f++) begin
        status = $fscanf(file, "%d %d %d", fold_words[f], fold_rows[f], fold_columns[f]);
        fold_start[f] = start;
        for (int t = 0; t < fold_words[f]; t++) begin
          status = $fscanf(file, "%h", row_line);
          row_memory[start+t] = row_line;
        end
        for (int t = 0; t < fold_words[f]; t++) begin
          status = $fscanf(file, "%h", column_line);
          column_memory[start+t] = column_line;
        end
        start += fold_words[f];
      end
      repeat (2) @(negedge clk);
      {rst, go} = 2'b01;
      seen = 0;
      for (int n = 0; n < limit && seen < expected; n++) @(negedge clk);
      repeat (R + C + 4) @(negedge clk);  // nothing else may come
      $display("end");
      {rst, go} = 2'b10;
    end
    $finish;
  end
endmodule

